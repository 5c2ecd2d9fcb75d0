"""A camera that is not ours: GStreamer's RTSP server playing an MP4 file.

    gstcamera.py FILE [--codec h264|h265|jpeg] [--port N] [--user U --password P] [--udp-only]
                      [--certificate PEM --key PEM] [--sub FILE]

It listens on 127.0.0.1 (by TLS alone with a certificate), serves rtsp://127.0.0.1:PORT/cam over UDP and TCP, with
--sub a second stream of the same codec at /sub, and prints "ready PORT" once it does. The same position is shown to all; who comes
when nobody watches begins with the first picture. It ends when its standard
input is closed.
"""
import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def encrypt(auth, certificate, key):
    """Answer by TLS alone; clients show no certificate."""
    auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(certificate, key))
    auth.set_tls_authentication_mode(Gio.TlsAuthenticationMode.NONE)


def protect(auth, factory, user, password):
    """Let only user in, by digest authentication."""
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_digest(user, password, token)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)


def stream(file, codec):
    """Give the factory of a stream that all its readers share."""
    factory = GstRtspServer.RTSPMediaFactory()
    payload_type = 26 if codec == "jpeg" else 96
    settings = "" if codec == "jpeg" else "config-interval=0 "
    factory.set_launch(
        f'( filesrc location="{file}" ! qtdemux ! {codec}parse ! '
        f"rtp{codec}pay name=pay0 pt={payload_type} {settings})"
    )
    factory.set_shared(True)
    return factory


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file")
    arguments.add_argument("--codec", default="h264")
    arguments.add_argument("--port", default="0")
    arguments.add_argument("--user", default="")
    arguments.add_argument("--password", default="")
    arguments.add_argument("--udp-only", action="store_true")
    arguments.add_argument("--certificate", default="")
    arguments.add_argument("--key", default="")
    arguments.add_argument("--sub", default="")
    given = arguments.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(given.port)
    factory = stream(given.file, given.codec)
    if given.udp_only:
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    if given.user or given.certificate:
        auth = GstRtspServer.RTSPAuth()
        server.set_auth(auth)
    if given.certificate:
        encrypt(auth, given.certificate, given.key)
    if given.certificate and not given.user:
        auth.set_default_token(GstRtspServer.RTSPToken())
    if given.user:
        protect(auth, factory, given.user, given.password)
    server.get_mount_points().add_factory("/cam", factory)
    if given.sub:
        server.get_mount_points().add_factory("/sub", stream(given.sub, given.codec))
    server.attach(None)

    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, lambda *_: loop.quit())
    print("ready", server.get_bound_port(), flush=True)
    loop.run()


main()
