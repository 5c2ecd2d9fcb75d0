/*
 * Decodes a group of pictures of H.264 or H.265 and gives the planes of the one
 * that is nearest to a wanted time.
 *
 *   picture h264|h265 MAX_PIXELS MAX_BYTES WANTED <group >planes
 *
 * Standard input is access units in the order of decoding, a key frame with its
 * parameter sets first. Before each stands its length as a 32-bit and the time
 * of its picture as a signed 64-bit number, both little-endian; WANTED is such
 * a time. The input may end after any unit: the picture is then the nearest of
 * those that came.
 *
 * Standard output is six little-endian 32-bit numbers (the bytes "OSP2", width,
 * height, planes 1 or 3, log2 of how much narrower and of how much lower the
 * second and third plane are), the picture's time as a signed 64-bit number and
 * then the planes without padding, 8 bits a sample, in the full range of JPEG
 * (JFIF). The exit status says what came of it, one line on standard error why.
 * Nothing that was concealed or guessed is ever written, nor what was decoded
 * from it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libavcodec/avcodec.h"
#include "libavutil/pixdesc.h"

enum { PICTURE = 0, DAMAGED = 1, REFUSED = 2, FAULT = 3 };

_Noreturn static void end(int status, const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(status);
}

/*
 * libavcodec goes on where a picture is missing that another one depends on, and
 * puts grey or an older one in its place; it only says so. The first error that
 * it says of a unit is the reason where there is no picture.
 */
static struct {
    int  unit; /* that is being decoded, counted from zero */
    int  missing;
    char first[160];
} said;

static void listen(void *from, int level, const char *format, va_list values)
{
    static const char *const gaps[] = { "Could not find ref with POC", "Frame num gap", "Missing reference picture", "reference picture missing" };

    for (int i = 0; i < FF_ARRAY_ELEMS(gaps); i++)
        if (!strncmp(format, gaps[i], strlen(gaps[i])))
            said.missing = 1;
    if (level <= AV_LOG_ERROR && !said.first[0])
        vsnprintf(said.first, sizeof(said.first), format, values);
}

/* end_damaged says what libavcodec said, where it did. */
_Noreturn static void end_damaged(const char *why)
{
    char line[256];

    snprintf(line, sizeof(line), "access unit %d: %s%s%s", said.unit, why, said.first[0] ? ": " : "", said.first);
    end(DAMAGED, line);
}

_Noreturn static void end_by(int error, const char *what)
{
    char reason[AV_ERROR_MAX_STRING_SIZE] = "", line[256];

    av_strerror(error, reason, sizeof(reason));
    snprintf(line, sizeof(line), "%s: %s", what, reason);
    if (error == AVERROR(ENOMEM))
        end(FAULT, line);
    if (error == AVERROR_PATCHWELCOME)
        end(REFUSED, line);
    end_damaged(line);
}

/* read_all reads n bytes of standard input, fewer only at its end. No byte is read ahead. */
static int read_all(void *to, int n)
{
    int have = 0;
    ssize_t got;

    while (have < n && (got = read(STDIN_FILENO, (char *)to + have, n - have)) > 0)
        have += got;
    return have;
}

/* read_unit reads the next access unit, NULL at the end of the input. */
static AVPacket *read_unit(uint32_t most)
{
    AVPacket *packet;
    uint8_t head[12];
    uint32_t n;
    int got = read_all(head, sizeof(head));

    if (got == 0)
        return NULL;
    if (got < (int)sizeof(head))
        end(FAULT, "the input is cut");
    memcpy(&n, head, 4);
    if (n == 0)
        end(DAMAGED, "access unit is empty");
    if (n > most)
        end(REFUSED, "access unit is too large");
    packet = av_packet_alloc();
    if (!packet || av_new_packet(packet, n) < 0)
        end(FAULT, "no memory for the access unit");
    memcpy(&packet->pts, head + 4, 8);
    if (read_all(packet->data, n) < (int)n)
        end(FAULT, "the input is cut");
    return packet;
}

/*
 * blank gives pictures whose samples are all zero, so that a slice that never
 * came leaves a hole that is seen, and not a part of an older picture.
 */
static int blank(AVCodecContext *context, AVFrame *frame, int flags)
{
    int error = avcodec_default_get_buffer2(context, frame, flags);

    for (int i = 0; error >= 0 && i < AV_NUM_DATA_POINTERS && frame->buf[i]; i++)
        memset(frame->buf[i]->data, 0, frame->buf[i]->size);
    return error;
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
    context->get_buffer2 = blank;
    if (avcodec_open2(context, codec, NULL) < 0)
        end(FAULT, "the decoder cannot be opened");
    return context;
}

/*
 * has_hole says that no slice covered some place of the picture: its samples are
 * zero in brightness and both colours, which no real colour is, since black has
 * its colours in the middle. Blocks have 16 pixels at least (H.265, 7.4.3.2.1).
 */
static int has_hole(const AVFrame *frame, const AVPixFmtDescriptor *format)
{
    int bytes = format->comp[0].depth > 8 ? 2 : 1;

    if (format->nb_components < 3)
        return 0;
    for (int y = 8; y < frame->height; y += 16)
        for (int x = 8; x < frame->width; x += 16) {
            int any = 0;
            for (int p = 0; p < 3; p++) {
                int w = p ? format->log2_chroma_w : 0, h = p ? format->log2_chroma_h : 0;
                const uint8_t *at = frame->data[p] + (ptrdiff_t)(y >> h) * frame->linesize[p] + (x >> w) * bytes;
                any |= at[0] | at[bytes - 1];
            }
            if (!any)
                return 1;
        }
    return 0;
}

static const AVPixFmtDescriptor *format_of(const AVFrame *frame)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    const uint64_t strange = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_HWACCEL |
                             AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_BITSTREAM;

    if (!format || format->flags & strange || (format->nb_components != 1 && format->nb_components != 3) ||
        (format->nb_components == 3 && !(format->flags & AV_PIX_FMT_FLAG_PLANAR)) ||
        format->comp[0].depth < 8 || format->comp[0].depth > 14)
        end(REFUSED, "pixel format is not supported");
    return format;
}

/* check ends the program where the picture, on which others may depend, is not whole. */
static void check(const AVFrame *frame, int64_t pixels)
{
    /* What is missing is concealed first: only concealment finds a slice of H.264 that never came. */
    if (frame->decode_error_flags || frame->flags & AV_FRAME_FLAG_CORRUPT)
        end_damaged("parts of the picture are missing");
    if (frame->width < 1 || frame->height < 1 || (int64_t)frame->width * frame->height > pixels)
        end(REFUSED, "picture is too large");
    if (has_hole(frame, format_of(frame)))
        end_damaged("nothing was decoded of a part of the picture");
}

static uint64_t away(int64_t a, int64_t b)
{
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

/* collect takes the pictures that are ready and keeps the nearest one in best. */
static void collect(AVCodecContext *context, int64_t wanted, int64_t pixels, AVFrame *frame, AVFrame *best)
{
    int error;

    while ((error = avcodec_receive_frame(context, frame)) >= 0) {
        check(frame, pixels);
        if (!best->buf[0] || away(frame->pts, wanted) < away(best->pts, wanted)) {
            av_frame_unref(best);
            av_frame_move_ref(best, frame);
        } else
            av_frame_unref(frame);
    }
    if (error != AVERROR_EOF && error != AVERROR(EAGAIN))
        end_by(error, "decode");
}

/* decode gives the nearest picture of the group, or ends the program. */
static AVFrame *decode(AVCodecContext *context, uint32_t most, int64_t wanted, int64_t pixels)
{
    AVFrame *frame = av_frame_alloc(), *best = av_frame_alloc();
    AVPacket *packet;
    int error;

    if (!frame || !best)
        end(FAULT, "no memory for the picture");
    for (; (packet = read_unit(most)); said.unit++) {
        said.missing = said.first[0] = 0;
        error = avcodec_send_packet(context, packet);
        av_packet_free(&packet);
        if (error < 0 && context->width > 0 && context->height > 0 && (int64_t)context->width * context->height > pixels)
            end(REFUSED, "picture is too large");
        if (error < 0)
            end_by(error, "decode");
        if (said.unit > 0 && said.missing)
            end_damaged("a picture that it depends on is missing");
        collect(context, wanted, pixels, frame, best);
    }
    if (said.unit == 0)
        end(DAMAGED, "there is no access unit");
    avcodec_send_packet(context, NULL);
    collect(context, wanted, pixels, frame, best);
    if (!best->buf[0])
        end_damaged("no picture in the access units");
    return best;
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
    const AVPixFmtDescriptor *format = format_of(frame);
    int full = frame->color_range == AVCOL_RANGE_JPEG, depth = format->comp[0].depth, planes = format->nb_components;
    uint8_t *table = malloc(1 << depth);
    uint32_t head[6];

    if (!table)
        end(FAULT, "no memory for the picture");
    memcpy(head, "OSP2", 4);
    head[1] = frame->width;
    head[2] = frame->height;
    head[3] = planes;
    head[4] = planes == 3 ? format->log2_chroma_w : 0;
    head[5] = planes == 3 ? format->log2_chroma_h : 0;
    put(head, sizeof(head));
    put(&frame->pts, sizeof(frame->pts));
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
    int64_t pixels = argc == 5 ? atoll(argv[2]) : 0;
    int bytes = argc == 5 ? atoi(argv[3]) : 0;

    if (pixels < 1 || bytes < 1 || bytes > 1 << 28)
        end(FAULT, "usage: picture h264|h265 MAX_PIXELS MAX_BYTES WANTED");
    av_log_set_callback(listen);
    write_picture(decode(open_decoder(argv[1], pixels), bytes, atoll(argv[4]), pixels));
    return PICTURE;
}
