"""Networks from tokens to classes, and to the tokens that follow."""
