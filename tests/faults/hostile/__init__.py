"""Files made to do harm, and bytes that mean nothing: a value or a message, and nothing else happens."""
