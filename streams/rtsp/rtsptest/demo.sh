#!/bin/sh
# Makes demo.h264: 12 s, 640x360, 15 pictures a second, a key frame each second,
# H.264 baseline without B-frames, a running clock and moving shapes.
# Needs Debian's ffmpeg and fonts-dejavu-core. One thread, so that the same
# ffmpeg gives the same bytes.
set -eu
cd "$(dirname "$0")"
font=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf
ffmpeg -nostdin -loglevel error -y \
	-f lavfi -i testsrc2=size=640x360:rate=15:duration=12 \
	-vf "drawbox=x=0:y=ih-56:w=iw:h=56:color=black@0.6:t=fill,drawtext=fontfile=$font:text='OFFSITE  %{pts\\:hms}  %{n}':x=16:y=h-42:fontsize=28:fontcolor=white,drawtext=fontfile=$font:text='●':x=mod(t*120\\,w):y=60+40*sin(t*3):fontsize=64:fontcolor=red" \
	-c:v libx264 -profile:v baseline -preset veryslow -crf 27 -pix_fmt yuv420p \
	-g 15 -keyint_min 15 -sc_threshold 0 -bf 0 -threads 1 \
	-bsf:v h264_metadata=aud=remove -flags +bitexact -f h264 demo.h264
