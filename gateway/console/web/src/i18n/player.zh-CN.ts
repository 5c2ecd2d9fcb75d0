/** Sentences of the live picture's player. */
export const playerZh = {
  'player.webrtc': 'WebRTC',
  'player.socket': 'WebSocket',
  'player.hls': 'HLS',
  'player.stills': '静态画面',
  'player.stopped': '画面停在 {time}，此后没有新画面',
  'player.semicolon': '；',
  'player.sub': '（子码流）',
  'player.leftClosed': '{way}{profile} 连接不上，已改用其他方式',
  'player.leftCodec': '{way}{profile} 不能播放此视频（{codec}），已改用其他方式',
  'player.lowLatency': '低延迟',
  'player.lowLatencyOn': '低延迟：开',
  'player.lowLatencyHint': '优先用 WebRTC 播放，延迟最小；连接不上时自动改用其他方式',
}
