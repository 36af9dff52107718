"""What leaves the machine: a model's card, its export for servers, and its way to the Hub."""
