"""The WSGI entry: the application as the environment describes it."""

from authsvc.boot import app_or_exit

app = app_or_exit()
