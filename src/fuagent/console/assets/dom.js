// The few ways in which this page touches the document: text goes in as text, and only what changed is touched.

export const $ = (id) => document.getElementById(id);

/** A copy of a template: its element, and below `f` everything in it that has a name. */
export function stamp(id) {
  const element = $(id).content.firstElementChild.cloneNode(true);
  const f = {};
  for (const one of element.querySelectorAll("[data-f]")) f[one.dataset.f] = one;
  element.f = f;
  return element;
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function attribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function show(element, whether) {
  if (element.hidden === whether) element.hidden = !whether;
}

/** Shows text, or hides the element where there is none. */
export function tell(element, text) {
  put(element, text);
  show(element, Boolean(text));
}

/**
 * Makes the children of `parent` (those this function made) be `items`, in that order, keeping elements by their key.
 * The element that has the focus keeps it while others come, go and move around it.
 */
export function keep(parent, items, key, make, fill) {
  const before = (parent.kept ??= new Map());
  const after = new Map(items.map((item) => [key(item), item]));
  for (const [name, element] of before) {
    if (!after.has(name)) {
      element.remove();
      before.delete(name);
    }
  }
  const focused = document.activeElement;
  let place = parent.keptAfter ? parent.keptAfter.nextElementSibling : parent.firstElementChild;
  for (const [name, item] of after) {
    let element = before.get(name);
    if (!element) before.set(name, (element = make(item)));
    fill(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

/** A list of terms and what they are. */
export function pairs(parent, items) {
  keep(parent, items, ([term], at) => term, () => stamp("t-pair"), (element, [term, value]) => {
    attribute(element, "data-kind", term);
    put(element.f.term, term);
    put(element.f.value, value);
  });
}

export function badge(f, state, word) {
  attribute(f.badge, "class", `badge ${state.tone}`);
  attribute(f.badge.querySelector("use"), "href", `#i-${state.icon}`);
  put(f.state, word);
}
