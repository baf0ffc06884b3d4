"""Between a conversation and a model, without a screen.

settings   how a conversation is answered, as it is kept with it
prompts    from a conversation to the messages that a model reads
answer     one answer as it comes: phases, text, speeds
engine     the model that is loaded, or on its way
"""
