"""What works beside an engine: conversations to prompts, the engine's text to events."""
