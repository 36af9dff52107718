"""What metrics that ask a language model share: the server that answers, what asking costs, and the
memory of answers."""
