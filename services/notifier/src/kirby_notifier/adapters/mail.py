"""E-mail by the standard library's SMTP client, in a thread."""

import asyncio
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

from kirby_notifier.domain.alerts import as_mail
from kirby_notifier.domain.attempts import Outcome
from kirby_notifier.ports import Due


class MailCourier:
    """Hands each message to the server in `KIRBY_SMTP_URL`: `smtp://` (STARTTLS where offered) or `smtps://`."""

    def __init__(self, url: str, *, sender: str | None, timeout_s: float) -> None:
        self._server = urlsplit(url)
        self._sender = sender or f"kirby@{socket.getfqdn()}"
        self._timeout_s = timeout_s

    async def deliver(self, due: Due) -> Outcome:
        try:
            await asyncio.to_thread(self._send, self._message(due))
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            return Outcome(delivered=False, final=code >= 500, status=code, error=said.decode(errors="replace"))
        except smtplib.SMTPResponseException as error:
            text = error.smtp_error
            answer = text.decode(errors="replace") if isinstance(text, bytes) else text
            return Outcome(delivered=False, status=error.smtp_code, error=answer)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return Outcome(delivered=False, error=f"not reached: {error or type(error).__name__}")
        return Outcome(delivered=True)

    def _message(self, due: Due) -> EmailMessage:
        subject, text = as_mail(due.body)
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = self._sender
        message["To"] = due.target
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{due.message_id}@kirby>"
        message.set_content(text)
        return message

    def _send(self, message: EmailMessage) -> None:
        with self._connected() as server:
            if self._server.username:
                server.login(unquote(self._server.username), unquote(self._server.password or ""))
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        host, port = self._server.hostname or "", self._server.port
        if self._server.scheme == "smtps":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(host, port or 465, timeout=self._timeout_s, context=context)
        server = smtplib.SMTP(host, port or 25, timeout=self._timeout_s)
        try:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
        return server
