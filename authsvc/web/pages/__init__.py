"""Pages for people: `/demo` shows the service working, `/docs` is its reference."""
