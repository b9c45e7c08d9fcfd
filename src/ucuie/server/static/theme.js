// The colours that were chosen here before, set before anything is painted.
const chosenTheme = (() => {
  try {
    return localStorage.getItem("ucuie-theme");
  } catch {
    return null; // storage may be forbidden
  }
})();
if (chosenTheme === "light" || chosenTheme === "dark") document.documentElement.dataset.theme = chosenTheme;
