// A classic script, so that the remembered theme is there before anything is painted.
try {
  const theme = localStorage.getItem("millstream.theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system's theme it is.
}
