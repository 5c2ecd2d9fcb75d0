import { onBeforeUnmount, onMounted, ref, type Ref, watch } from 'vue'

const patience = 1500 // ms out of sight before it counts, so that a quick scroll or a glance at another tab opens nothing anew

/** Whether the element is in view on a page that is in view. */
export function useSeen(element: Ref<HTMLElement | undefined>): Ref<boolean> {
  const inside = ref(false)
  const open = ref(!document.hidden)
  const seen = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined
  const observer = new IntersectionObserver((entries) => (inside.value = entries[entries.length - 1]!.isIntersecting), { rootMargin: '80px' })
  const changed = () => (open.value = !document.hidden)

  watch([inside, open], () => {
    clearTimeout(timer)
    if (inside.value && open.value) seen.value = true
    else timer = setTimeout(() => (seen.value = false), patience)
  })
  onMounted(() => {
    observer.observe(element.value!)
    document.addEventListener('visibilitychange', changed)
  })
  onBeforeUnmount(() => {
    observer.disconnect()
    clearTimeout(timer)
    document.removeEventListener('visibilitychange', changed)
  })
  return seen
}
