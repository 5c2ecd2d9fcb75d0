/*
 * Decodes one access unit of H.264 or H.265 to the planes of one picture.
 *
 *   picture h264|h265 MAX_PIXELS MAX_BYTES <access unit, Annex B >planes
 *
 * Standard output is six little-endian 32-bit numbers (the bytes "OSP1", width,
 * height, planes 1 or 3, log2 of how much narrower and how much lower the
 * second and third plane are) and then the planes without padding, 8 bits a
 * sample, in the full range of JPEG (JFIF). The exit status says what came of it, one line on standard
 * error why. Nothing that was concealed or guessed is ever written.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libavcodec/avcodec.h"
#include "libavutil/pixdesc.h"

enum { PICTURE = 0, DAMAGED = 1, REFUSED = 2, FAULT = 3 };

_Noreturn static void end(int status, const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(status);
}

_Noreturn static void end_by(int error, const char *what)
{
    char reason[AV_ERROR_MAX_STRING_SIZE] = "", line[256];

    av_strerror(error, reason, sizeof(reason));
    snprintf(line, sizeof(line), "%s: %s", what, reason);
    end(error == AVERROR(ENOMEM) ? FAULT : error == AVERROR_PATCHWELCOME ? REFUSED : DAMAGED, line);
}

/* read_unit reads standard input whole into a packet with libavcodec's padding. */
static AVPacket *read_unit(int most)
{
    AVPacket *packet = av_packet_alloc();
    int n = 0, got;

    if (!packet || av_new_packet(packet, most + 1) < 0)
        end(FAULT, "no memory for the access unit");
    while (n <= most && (got = fread(packet->data + n, 1, most + 1 - n, stdin)) > 0)
        n += got;
    if (n == 0)
        end(DAMAGED, "access unit is empty");
    if (n > most)
        end(REFUSED, "access unit is too large");
    av_shrink_packet(packet, n);
    return packet;
}

static AVCodecContext *open_decoder(const char *name, int64_t pixels)
{
    enum AVCodecID id = !strcmp(name, "h264") ? AV_CODEC_ID_H264
                      : !strcmp(name, "h265") ? AV_CODEC_ID_HEVC : AV_CODEC_ID_NONE;
    const AVCodec *codec = avcodec_find_decoder(id);
    AVCodecContext *context = codec ? avcodec_alloc_context3(codec) : NULL;

    if (!context)
        end(REFUSED, "no decoder for this codec");
    context->err_recognition = AV_EF_EXPLODE;
    context->max_pixels = pixels;
    context->thread_count = 1;
    if (avcodec_open2(context, codec, NULL) < 0)
        end(FAULT, "the decoder cannot be opened");
    return context;
}

/* decode gives the one picture, or ends the program. */
static AVFrame *decode(AVCodecContext *context, AVPacket *packet, int64_t pixels)
{
    AVFrame *frame = av_frame_alloc();
    int error;

    if (!frame)
        end(FAULT, "no memory for the picture");
    error = avcodec_send_packet(context, packet);
    if (error < 0) {
        if (context->width > 0 && context->height > 0 && (int64_t)context->width * context->height > pixels)
            end(REFUSED, "picture is too large");
        end_by(error, "decode");
    }
    avcodec_send_packet(context, NULL);
    error = avcodec_receive_frame(context, frame);
    if (error == AVERROR_EOF || error == AVERROR(EAGAIN))
        end(DAMAGED, "no picture in the access unit");
    if (error < 0)
        end_by(error, "decode");
    /* What is missing is concealed first: only concealment finds a slice that never came. */
    if (frame->decode_error_flags || frame->flags & AV_FRAME_FLAG_CORRUPT)
        end(DAMAGED, "parts of the picture are missing");
    if (frame->width < 1 || frame->height < 1 || (int64_t)frame->width * frame->height > pixels)
        end(REFUSED, "picture is too large");
    return frame;
}

/*
 * stretch fills the table from samples of depth bits to 8 bits of full range.
 * Limited range is 16..235 for brightness and 16..240 around 128 for colour,
 * times 2^(depth-8) (ITU-R BT.709, 4.6).
 */
static void stretch(uint8_t *table, int depth, int full, int colour)
{
    double one = 1 << (depth - 8), centre = colour ? 128 : 0;
    double low = full ? 0 : 16 * one, high = full ? (1 << depth) - 1 : (colour ? 240 : 235) * one;

    for (int v = 0; v < 1 << depth; v++) {
        double x = colour && !full ? (v - 128 * one) * 255 / (high - low) + centre : (v - low) * 255 / (high - low);
        if (colour && full)
            x = v / one;
        table[v] = x <= 0 ? 0 : x >= 255 ? 255 : (uint8_t)(x + 0.5);
    }
}

static void put(const void *data, size_t n)
{
    if (fwrite(data, 1, n, stdout) != n)
        end(FAULT, "the picture cannot be written");
}

static void write_plane(const AVFrame *frame, int plane, int width, int height, int depth, const uint8_t *table)
{
    uint8_t *row = malloc(width);

    if (!row)
        end(FAULT, "no memory for the picture");
    for (int y = 0; y < height; y++) {
        const uint8_t *from = frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane];
        if (depth == 8)
            for (int x = 0; x < width; x++)
                row[x] = table[from[x]];
        else
            for (int x = 0; x < width; x++)
                row[x] = table[((const uint16_t *)from)[x] & ((1 << depth) - 1)];
        put(row, width);
    }
    free(row);
}

static void write_picture(const AVFrame *frame)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    const uint64_t strange = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_HWACCEL |
                             AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_BITSTREAM;
    int full, depth, planes;
    uint32_t head[6];
    uint8_t *table;

    if (!format || format->flags & strange || (format->nb_components != 1 && format->nb_components != 3) ||
        (format->nb_components == 3 && !(format->flags & AV_PIX_FMT_FLAG_PLANAR)))
        end(REFUSED, "pixel format is not supported");
    planes = format->nb_components;
    depth = format->comp[0].depth;
    full = frame->color_range == AVCOL_RANGE_JPEG;
    if (depth < 8 || depth > 14 || !(table = malloc(1 << depth)))
        end(REFUSED, "pixel format is not supported");
    memcpy(head, "OSP1", 4);
    head[1] = frame->width;
    head[2] = frame->height;
    head[3] = planes;
    head[4] = planes == 3 ? format->log2_chroma_w : 0;
    head[5] = planes == 3 ? format->log2_chroma_h : 0;
    put(head, sizeof(head));
    for (int p = 0; p < planes; p++) {
        int w = p ? AV_CEIL_RSHIFT(frame->width, format->log2_chroma_w) : frame->width;
        int h = p ? AV_CEIL_RSHIFT(frame->height, format->log2_chroma_h) : frame->height;
        stretch(table, depth, full, p > 0);
        write_plane(frame, p, w, h, depth, table);
    }
    if (fflush(stdout))
        end(FAULT, "the picture cannot be written");
}

int main(int argc, char **argv)
{
    int64_t pixels = argc == 4 ? atoll(argv[2]) : 0;
    int bytes = argc == 4 ? atoi(argv[3]) : 0;
    AVPacket *packet;

    if (pixels < 1 || bytes < 1 || bytes > 1 << 28)
        end(FAULT, "usage: picture h264|h265 MAX_PIXELS MAX_BYTES");
    av_log_set_level(AV_LOG_QUIET);
    packet = read_unit(bytes);
    write_picture(decode(open_decoder(argv[1], pixels), packet, pixels));
    return PICTURE;
}
