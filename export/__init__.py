"""A trained folder to other forms: published on the Hub."""
