"""A camera that is not ours: GStreamer's RTSP server playing an MP4 file.

    gstcamera.py FILE [--codec h264|h265] [--port N] [--user U --password P] [--udp-only]

It listens on 127.0.0.1, serves rtsp://127.0.0.1:PORT/cam over UDP and TCP and
prints "ready PORT" once it does. The same position is shown to all; who comes
when nobody watches begins with the first picture. It ends when its standard
input is closed.
"""
import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def protect(server, factory, user, password):
    """Let only user in, by digest authentication."""
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file")
    arguments.add_argument("--codec", default="h264")
    arguments.add_argument("--port", default="0")
    arguments.add_argument("--user", default="")
    arguments.add_argument("--password", default="")
    arguments.add_argument("--udp-only", action="store_true")
    given = arguments.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(given.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( filesrc location="{given.file}" ! qtdemux ! {given.codec}parse ! '
        f"rtp{given.codec}pay name=pay0 pt=96 config-interval=0 )"
    )
    factory.set_shared(True)
    if given.udp_only:
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    if given.user:
        protect(server, factory, given.user, given.password)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)

    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, lambda *_: loop.quit())
    print("ready", server.get_bound_port(), flush=True)
    loop.run()


main()
