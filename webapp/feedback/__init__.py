"""What people say about answers: a thumb, a reason, a correction."""
