"""What the tests start and speak to: private servers on free ports, and a small HTTP client."""
