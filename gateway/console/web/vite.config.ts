import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// The same sources give the same bytes: names carry hashes of their content and
// nothing carries a date.
export default defineConfig({
  plugins: [vue()],
  base: './',
  build: { outDir: '../dist', emptyOutDir: true, sourcemap: false, chunkSizeWarningLimit: 1500, target: 'es2022' },
  test: { css: true }, // contrast is tested on style.css
  server: { proxy: { '/api': { target: 'http://127.0.0.1:8080', ws: true } } },
})
