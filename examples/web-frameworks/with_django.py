"""Django in one file: `python with_django.py runserver 127.0.0.1:8000 --noreload`, or `with_django:application`."""

import atexit
import os
import secrets
import sys
from pathlib import Path

import django
from board import Board
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.html import format_html

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_urlsafe(),
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [Path(__file__).parent]}],
)
django.setup()
board = Board().start()
atexit.register(board.close)


def show(request: HttpRequest, error: str = "") -> HttpResponse:
    csrf = format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', get_token(request))
    return render(request, "board.html", {"framework": "Django", "error": error, "csrf": csrf, **board.page()})


def prices(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return show(request)
    try:
        board.ask(request.POST["item"], request.POST["net"])
    except ValueError as error:
        return show(request, str(error))
    return redirect("/")


urlpatterns = [path("", prices)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
