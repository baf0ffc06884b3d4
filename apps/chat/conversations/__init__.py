"""What was said, kept: conversations as trees of turns, in one SQLite file.

records, conversation       what a conversation is, in memory
database, schema, faults    the file
catalog, loading, turns, search, remembered
                            functions that take a Database; each is one transaction
archive, draft              the same for asyncio: one thread, and an answer while it is written
states                      files of KV state beside it
portable, json_form, markdown, markdown_reading
                            export and import
"""
