"""What the network knows of peers: names and addresses."""
