"""What GitHub tells and is told, and what follows: rules without a database or a network."""
