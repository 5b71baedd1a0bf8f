"""From bytes to requests: llhttp reads, the limits hold for whatever has not become a request yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from modelkit.runtime.edge.exchange import Exchange
from modelkit.runtime.edge.repeat import Repeat
from modelkit.runtime.edge.replies import Reply, refusal
from modelkit.runtime.edge.request import Headers, Request, bad_request, judge

if TYPE_CHECKING:
    from modelkit.runtime.edge.client import ClientConnection

_FRAMING_BYTES = 64 * 1024  # of a chunked body, in a row, without any body in it
_MISSES = 3  # after so many this client's heads all differ
_TOO_LARGE = refusal(431, "headers_too_large", "the headers are too many or too long", close=True)


class RequestReader:
    """Makes an exchange of each request of one connection, as soon as its head is complete, and gives it its body."""

    __slots__ = ("_client", "_edge", "_head", "_misses", "_parser", "_repeat", "_resuming", "_size", "_skipped",
                 "_target", "_unfinished", "head_open", "incoming")

    def __init__(self, client: ClientConnection) -> None:
        self.incoming: Exchange | None = None  # the one whose body is coming in, or came in last
        self.head_open = False  # a head has begun and not ended
        self._client = client
        self._edge = client.edge
        self._parser = HttpRequestParser(self)
        self._target = b""
        self._head: Headers = []
        self._size = 0  # of the present read
        self._unfinished = 0  # bytes of an open head, or of a body's framing since the last bit of body
        self._skipped = self._resuming = False  # see `_restart`
        self._repeat: Repeat | None = None
        self._misses = 0  # heads that were not the one before

    def read(self, data: bytes) -> None:
        """Take what came in. The client learns of each request, of what can't be read, and of what is missing."""
        if self._repeat is not None and self._known_again(data, self._repeat):
            return
        before, client = self.incoming, self._client
        progress = before.bytes_in if before is not None else 0
        alone = not self.head_open and (before is None or before.complete)
        self._size = len(data)
        self._feed(data)
        incoming = self.incoming
        if client.deaf:
            return
        if incoming is None or not incoming.complete:
            self._expect_more(incoming, incoming is before and incoming is not None and incoming.bytes_in == progress)
            return
        client.has_all()
        if alone and incoming is client.current and incoming.reply is None and self._misses < _MISSES:
            self._repeat = Repeat.of(data, incoming.request, self._edge.access, self._edge.limits.body_bytes)

    def close(self) -> None:
        """Read no more. The parser holds our methods: without this the two would keep each other."""
        del self._parser

    @property
    def incomplete(self) -> Exchange | None:
        """The request whose body is not all here."""
        return self.incoming if self.incoming is not None and not self.incoming.complete else None

    # What the parser reports.

    def on_message_begin(self) -> None:
        if not self._resuming:
            self._target, self._head, self.incoming, self.head_open = b"", [], None, True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_open:  # else it is a trailer
            self._head.append((name, value))

    def on_headers_complete(self) -> None:
        if self._resuming:
            self._resuming = False
            return
        parser, client, limits = self._parser, self._client, self._edge.limits
        seen, self._unfinished, self.head_open = self._unfinished + self._size, 0, False
        if client.last is not None:
            return  # and the body finds no exchange
        head, self._head = self._head, []
        request = Request(parser.get_method(), self._target, parser.get_http_version(), head,
                          parser.should_keep_alive())
        reply: Reply | None
        if client.queued >= limits.pipelined:
            reply = bad_request("too many requests at once on one connection")
        elif len(head) > limits.headers or seen > limits.head_bytes < _length(self._target, head):
            reply = _TOO_LARGE
        else:
            reply = judge(request, self._edge.access, limits)
        self._skipped = request.upgrades and request.has_body
        self.incoming = Exchange(client, request, request.length, reply)
        client.enqueue(self.incoming)

    def on_body(self, body: bytes) -> None:
        if self.incoming is not None:
            self.incoming.receive(body)

    def on_message_complete(self) -> None:
        if self.incoming is not None and not self._skipped:
            self.incoming.received()

    # How it reads.

    def _known_again(self, data: bytes, repeat: Repeat) -> bool:
        """Take a request whose head is known, when nothing else is going on."""
        client = self._client
        if client.current is not None or self.head_open:
            return False
        length = repeat.length_of(data, self._edge.access)
        if length is None:
            self._repeat = None
            self._misses += 1
            return False
        self.incoming = client.current = exchange = Exchange(client, repeat.request, length, None)
        exchange.receive_whole(data[len(data) - length:])
        client.has_all()
        return True

    def _feed(self, data: bytes) -> None:
        try:
            while data:
                try:
                    self._parser.feed_data(data)
                    return
                except HttpParserUpgrade as upgrade:
                    data = data[upgrade.args[0]:]
                    self._restart()
        except HttpParserCallbackError:
            raise  # our bug: the loop reports it and drops the connection
        except HttpParserError as error:
            self._malformed(str(error))

    def _restart(self) -> None:
        """Go on after an offer of another protocol (h2c), which we do not take.

        The parser holds it for taken, and a body for the other protocol's; so a new one gets to see the body's framing.
        """
        self._parser = HttpRequestParser(self)
        incoming = self.incoming
        if self._skipped and incoming is not None:
            self._skipped, self._resuming = False, True
            framing = (b"Transfer-Encoding: chunked" if incoming.request.chunked
                       else b"Content-Length: %d" % incoming.length)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)

    def _expect_more(self, incoming: Exchange | None, only_framing: bool) -> None:
        """After a read that ended inside of a request, or before one."""
        client, limits = self._client, self._edge.limits
        if incoming is None:
            if self._unfinished == 0:
                client.expect_within(limits.head_seconds)
            self._unfinished += self._size
            if self._unfinished > limits.head_bytes:
                client.refuse(_TOO_LARGE)
            return
        client.expect_within(limits.body_seconds)
        self._unfinished = self._unfinished + self._size if only_framing else 0
        if self._unfinished > _FRAMING_BYTES:
            self._malformed("a chunked body without a body")
        elif (incoming.link is None and incoming.reply is None and not incoming.gathering
              and incoming.waiting > limits.replay_bytes):
            client.hold(True)  # until it has a connection

    def _malformed(self, what: str) -> None:
        if self._client.last is not None and self.incomplete is None:
            return  # it comes after the last request: nobody will look at it
        self._client.refuse(bad_request(f"this is not HTTP: {what}"))


def _length(target: bytes, head: Headers) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in head)
