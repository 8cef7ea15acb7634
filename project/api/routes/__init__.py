"""One module for each subject. Every query starts from the user whose token came with the request."""
