// Package hls serves live pictures as Low-Latency HLS (RFC 8216, second
// edition), for players that bring it along: Safari and other phones, hls.js,
// ffmpeg, television sets. One muxer serves all viewers of a feed; nothing is
// made while nobody asks.
//
// The files of one feed, by name:
//
//	index.m3u8           multivariant playlist with the one variant there is
//	{edition}.m3u8       its media playlist; takes _HLS_msn and _HLS_part
//	{random}_….mp4       initialisation segment, segments and parts, as the playlist names them
//
// An edition lasts as long as the pictures have one format and come without a
// gap. When the camera reconnects or changes its parameters another one begins,
// and the names of the old one are not found, code "hls_renewed": the player
// opens index.m3u8 again. No file depends on its query but the media playlist.
package hls
