"""What codes coefficients and makes samples of them, in C; its modules are beside this folder."""
