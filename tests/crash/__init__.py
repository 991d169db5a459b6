"""
The crash suite: a broker under load is killed again and again, and what it had acknowledged is looked for afterwards.
"""
