"""The paper's tables and figures as commands: variants, trials, a queue that resumes, pages.

`variants` and `scales` say what is trained on what, `definitions` which trials an experiment needs, `queue`
runs those that are missing, `pages` writes what is there. Everything lies in one folder, the `Workspace`.
"""
