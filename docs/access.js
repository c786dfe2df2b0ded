// What the theme leaves to do for keyboards and screen readers.
document$.subscribe(() => {
  // A table that is wider than the page is scrolled by the keyboard.
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((wrap, index) => {
    wrap.tabIndex = 0;
    wrap.setAttribute("role", "region");
    wrap.setAttribute("aria-label", `Table ${index + 1}`);
  });
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  // Each landmark has a name of its own: the label of a part of the navigation may be hidden, buttons of code have none.
  for (const nav of document.querySelectorAll(".md-nav[aria-labelledby]")) {
    const label = document.getElementById(nav.getAttribute("aria-labelledby"));
    const name = label.textContent.trim() || nav.parentElement.querySelector(".md-ellipsis").textContent.trim();
    nav.setAttribute("aria-label", name);
    nav.removeAttribute("aria-labelledby");
  }
  const nameButtons = () =>
    document.querySelectorAll(".md-code__nav").forEach((nav, index) => nav.setAttribute("aria-label", `Code ${index + 1}`));
  nameButtons();
  new MutationObserver(nameButtons).observe(document.body, { childList: true, subtree: true });
});
