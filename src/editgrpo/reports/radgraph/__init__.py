"""RadGraph: the entities of a report, their labels and the relations between them.

The published checkpoints `radgraph-xl` and `radgraph` (AllenNLP archives of DyGIE++ models) read by
plain torch and transformers, many reports at once. Left out on purpose: training, coreference and
events (the archives carry untrained modules for them), and the checkpoints for other modalities.
Importing this loads no torch.
"""
