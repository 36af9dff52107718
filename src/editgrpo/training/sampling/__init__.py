"""Where responses come from: the native engine and vLLM."""
