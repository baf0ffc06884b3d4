"""The terminal chat: `edgellm chat`.

launch          from the command line to the app and back; start: what it begins with
first_frame     what is seen before Textual is imported; guard: the terminal after any death
collecting      when Python looks for garbage: not while somebody waits
app, screen     the Textual app and its one screen; desk: the open conversation
talk, live      an answer under way: into the database, and onto the screen
showing, views  what the widgets show, and when; working: how work beside the screen begins
commands/       everything one can do, a row of a table each; dialogs/: what it asks
widgets/        the prompt, the lines and the panel around the transcript
transcript/     draws what was said; knows neither models nor databases
conversations/  keeps what was said in SQLite; knows no screen
answering/      the loaded model and one answer of it; knows no screen
choosing/       which models there are, and which fit now
making/         conversions of checkpoints, in a process of their own
serving/        the same app in a browser on this machine
"""
