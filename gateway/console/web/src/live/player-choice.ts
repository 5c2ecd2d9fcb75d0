import { ref } from 'vue'

const place = 'offsite.player.low-latency'

/** Whether this browser's pictures are wanted with the least delay. */
export const chosenLowLatency = ref(localStorage.getItem(place) === 'yes')

export function chooseLowLatency(yes: boolean): void {
  chosenLowLatency.value = yes
  localStorage.setItem(place, yes ? 'yes' : 'no')
}
