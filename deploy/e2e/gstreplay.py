"""A recorder that is not ours: GStreamer's RTSP server, which plays its past by time as ONVIF says (onvif-replay).

    gstreplay.py FILE --from UNIX [--hours N] [--rate PICTURES] [--user U --password P]

FILE is an H.264 byte stream whose pictures, over and over, are those of N hours from UNIX (seconds) on. It listens on a
port of its own of 127.0.0.1, plays rtsp://127.0.0.1:PORT/replay and prints "ready PORT". It ends when its standard
input is closed.
"""
import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

EPOCH = 2208988800  # 1970 in seconds since 1900, which times of ONVIF count from


def pictures(file):
    """Give the pictures of a byte stream, each with whether it is a key frame."""
    data = open(file, "rb").read()
    starts, at = [], data.find(b"\0\0\1")
    while at >= 0:
        starts.append(at)
        at = data.find(b"\0\0\1", at + 3)
    units = [data[a:b].rstrip(b"\0") for a, b in zip(starts, starts[1:] + [len(data)])]
    out, waiting, key = [], b"", False
    for unit in units:
        kind = unit[3] & 31
        waiting += b"\0" + unit
        key = key or kind == 5
        if kind in (1, 5):
            out.append((waiting, key))
            waiting, key = b"", False
    return out


class Tape:
    """What is recorded: an appsrc's pictures by time."""

    def __init__(self, given):
        self.pictures = pictures(given.file)
        self.step = Gst.SECOND // given.rate
        self.begin = (given.begin + EPOCH) * Gst.SECOND
        self.count = int(given.hours * 3600 * given.rate)
        self.next, self.floor = 0, 0

    def seek(self, _source, position):
        """Go to the first key frame at or behind position: GStreamer refuses to stamp what lies before it."""
        n = max(0, (position + Gst.MSECOND - self.begin) // self.step)
        while n < self.count and not self.pictures[n % len(self.pictures)][1]:
            n += 1
        self.next, self.floor = n, position
        return True

    def feed(self, source, _length):
        if self.next >= self.count:
            source.emit("end-of-stream")
            return
        data, key = self.pictures[self.next % len(self.pictures)]
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts = buffer.dts = max(self.floor, self.begin + self.next * self.step)
        buffer.duration = self.step
        if not key:
            buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
        self.next += 1
        source.emit("push-buffer", buffer)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file")
    arguments.add_argument("--from", dest="begin", type=int, required=True)
    arguments.add_argument("--hours", type=float, default=1)
    arguments.add_argument("--rate", type=int, default=15)
    arguments.add_argument("--user", default="")
    arguments.add_argument("--password", default="")
    given = arguments.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPOnvifServer.new()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPOnvifMediaFactory.new()
    factory.set_media_gtype(GstRtspServer.RTSPOnvifMedia.__gtype__)
    factory.set_replay_support(True)
    factory.set_launch(
        "( appsrc name=tape format=time stream-type=seekable is-live=false block=false max-bytes=400000 "
        "caps=video/x-h264,stream-format=byte-stream,alignment=au "
        "! h264parse ! rtph264pay pt=96 config-interval=-1 ! rtponviftimestamp name=pay0 ntp-offset=0 set-t-bit=true )"
    )

    def configure(_factory, media):
        tape = Tape(given)
        source = media.get_element().get_by_name_recurse_up("tape")
        source.set_property("duration", tape.count * tape.step + tape.begin)
        source.connect("seek-data", tape.seek)
        source.connect("need-data", tape.feed)

    factory.connect("media-configure", configure)
    if given.user:
        auth = GstRtspServer.RTSPAuth()
        server.set_auth(auth)
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_digest(given.user, given.password, token)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/replay", factory)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, lambda *_: loop.quit())
    print("ready", server.get_bound_port(), flush=True)
    loop.run()


main()
