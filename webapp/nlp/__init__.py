"""Text analysis by named methods: what each one is stands beside what it found."""
