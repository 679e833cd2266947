"""TLS: certificates read and made, private keys kept, contexts for both sides of a connection."""
