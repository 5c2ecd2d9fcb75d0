import type { playerZh } from './player.zh-CN'

export const playerEn: Record<keyof typeof playerZh, string> = {
  'player.webrtc': 'WebRTC',
  'player.socket': 'WebSocket',
  'player.hls': 'HLS',
  'player.stills': 'Stills',
  'player.stopped': 'No new picture since {time}',
  'player.semicolon': '; ',
  'player.sub': ' (sub-stream)',
  'player.leftClosed': '{way}{profile} does not connect; another way is used',
  'player.leftCodec': '{way}{profile} cannot play this video ({codec}); another way is used',
  'player.lowLatency': 'Low latency',
  'player.lowLatencyOn': 'Low latency: on',
  'player.lowLatencyHint': 'Plays by WebRTC first, with the least delay; where it does not connect another way is used by itself',
}
