// hls.js declares no types for its light build; they are the whole one's.
declare module 'hls.js/light' {
  export * from 'hls.js'
  export { default } from 'hls.js'
}
