"""What was said, on the screen: lines laid out when they are looked at, and kept while they are.

Textual's own Markdown has a widget for every paragraph and list item, and each change of a layout
visits all of them: 20 answers cost 50 ms a change. Here the whole conversation is one widget that
draws lines, so that a token costs the same however long the conversation is.

look       the styles of the current theme, as the layout needs them
markdown   Markdown to lines, appended to as an answer comes
code       blocks of code, with what copies them
turns      a turn's header, thoughts, text and ending
view       the widget: which lines are seen, following the end, the cursor
"""
