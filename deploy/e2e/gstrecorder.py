"""A media server that is not ours: GStreamer's RTSP server, to which pictures are pushed (ANNOUNCE, RECORD).

    gstrecorder.py FILE [--codec h264|h265] [--address A] [--user U --password P] [--certificate PEM --key PEM]

It listens on a port of its own, takes rtsp://A:PORT/live (rtsps with a certificate), appends what comes to FILE as a
byte stream and prints "ready PORT". It ends when its standard input is closed.
"""
import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file")
    arguments.add_argument("--codec", default="h264")
    arguments.add_argument("--address", default="127.0.0.1")
    arguments.add_argument("--user", default="")
    arguments.add_argument("--password", default="")
    arguments.add_argument("--certificate", default="")
    arguments.add_argument("--key", default="")
    given = arguments.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(given.address)
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
    factory.set_launch(
        f"( rtp{given.codec}depay name=depay0 ! {given.codec}parse ! video/x-{given.codec},stream-format=byte-stream "
        f'! filesink sync=false async=false buffer-mode=unbuffered location="{given.file}" )'
    )
    if given.user or given.certificate:
        auth = GstRtspServer.RTSPAuth()
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "camera")
        permissions.add_permission_for_role("camera", "media.factory.access", True)
        permissions.add_permission_for_role("camera", "media.factory.construct", True)
        factory.set_permissions(permissions)
        if given.certificate:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(given.certificate, given.key))
            auth.set_tls_authentication_mode(Gio.TlsAuthenticationMode.NONE)
        if given.user:
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(given.user, given.password, token)
        else:
            auth.set_default_token(token)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)

    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, lambda *_: loop.quit())
    print("ready", server.get_bound_port(), flush=True)
    loop.run()


main()
