"""Passwords: gone from whatever is shown, and nothing else is."""

from __future__ import annotations

import pytest

from blurvote.runtime.sources import without_password

SECRET = "s3cr"
HIDDEN = {
    f"rtsp://joe:{SECRET}@cam/stream": "rtsp://joe:***@cam/stream",
    f"rtsp://joe:{SECRET}@x@cam:554/a?b=c": "rtsp://joe:***@cam:554/a?b=c",
    f"rtsp://joe:a/{SECRET}@cam/stream": "rtsp://joe:***@cam/stream",
    f"rtsp://:{SECRET}@cam": "rtsp://:***@cam",
    f"http://cam/v.cgi?user=joe&pwd={SECRET}&n=1": "http://cam/v.cgi?user=joe&pwd=***&n=1",
    f"http://cam/v?Token={SECRET}#a": "http://cam/v?Token=***#a",
    f'gst:rtspsrc location="rtsp://j:{SECRET}@h/x" ! appsink': (
        'gst:rtspsrc location="rtsp://j:***@h/x" ! appsink'
    ),
    f"gst:rtspsrc user-id=joe user-pw={SECRET} ! appsink": (
        "gst:rtspsrc user-id=joe user-pw=*** ! appsink"
    ),
    f'gst:souphttpsrc user-pw = "{SECRET} x" ! appsink': "gst:souphttpsrc user-pw = *** ! appsink",
}


@pytest.mark.parametrize(("uri", "shown"), HIDDEN.items())
def test_passwords_are_hidden(uri: str, shown: str) -> None:
    assert without_password(uri) == shown
    assert without_password(shown) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://cam:554/stream",
        "rtsp://joe@cam/stream",
        "http://cam:8080/a@b.jpg",
        "http://127.0.0.1:80",
        "/data/pass word/a@b.mp4",
        "synthetic:?seed=3",
        "gst:videotestsrc ! video/x-raw,format=BGR ! appsink",
        "3",
        "C:/films/a@b.mp4",
    ],
)
def test_what_holds_no_password_stays(uri: str) -> None:
    assert without_password(uri) == uri
