"""One call of compress, plan or finish, from the request to the report."""
