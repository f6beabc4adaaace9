"""What README's figures come from."""
