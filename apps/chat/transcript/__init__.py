"""What was said, on the screen: lines laid out when they are looked at, and kept while they are.

Textual's own Markdown has a widget for every paragraph and list item, and each change of a layout
visits all of them; `python -m benchmarks.chat.rendering` compares. Here the whole conversation is
one widget that draws lines, and the structure of Markdown is read line by line, so that a token
costs the same however long the answer is and the conversation above it.

text, from the top
scanning    a line of Markdown, by columns, and what beginnings of lines mean
leaves      paragraphs, blocks of code and tables while their lines come
blocks      quotes and lists around those; hands out pieces that nothing below changes
pieces      what that is
inline      emphasis, links and code within a paragraph
code        blocks of code in colours, with what copies them
tables      rows of tables
layout      pieces to lines
markdown    all of this for a text that grows

conversation
look        the styles of the current theme, as laying out needs them
turns       a turn's header, thoughts, text and ending
rows        where each item begins, with estimates for those that nobody looked at
column      the items and those of their lines that were asked for lately
viewport    which lines are seen
selecting   what is selected with the mouse
pane        the widget's scrolling, sizes and theme
view        the widget: what is shown, the cursor, clicks
"""
