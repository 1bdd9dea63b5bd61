"""GitHub: installations, webhooks, pull requests, and what they make happen."""
