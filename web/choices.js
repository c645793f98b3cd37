/** What the visitor may choose from: the voices, looks and samples that ship. */

/**
 * Voices by accent; models/tts/voices.toml has their pitches.
 * @type {{[label: string]: [name: string, words: string][]}}
 */
export const VOICES = {
  "American": [
    ["af_heart", "Heart, high"],
    ["af_bella", "Bella, high"],
    ["af_sarah", "Sarah, high"],
    ["af_nova", "Nova, middle"],
    ["af_kore", "Kore, low"],
    ["af_alloy", "Alloy, low"],
    ["am_fenrir", "Fenrir, male, high"],
    ["am_michael", "Michael, male, middle"],
    ["am_puck", "Puck, male, middle"],
    ["am_echo", "Echo, male, low"],
    ["am_onyx", "Onyx, male, low"],
  ],
  "British": [
    ["bf_isabella", "Isabella, high"],
    ["bf_emma", "Emma, middle"],
    ["bm_george", "George, male, high"],
    ["bm_fable", "Fable, male, middle"],
  ],
};

/** @type {[look: string, prompt: string][]} The looks of `restyle-small`, and a prompt for each. */
export const LOOKS = [
  ["starry", "starry night by van gogh"],
  ["comic", "a comic book panel"],
  ["ukiyoe", "the great wave off kanagawa"],
  ["expressionism", "blue horses by franz marc"],
  ["woodcut", "a woodcut in yellow and blue"],
  ["crimson", "everything burns in hell"],
  ["pencil", "sketched with coloured pencils"],
  ["mosaic", "a roman mosaic"],
  ["popart", "paper cut-outs by matisse"],
  ["engraving", "an antique engraving"],
  ["pointillism", "pointillism by seurat"],
  ["terracotta", "a fresco on terracotta"],
  ["impressionism", "impressionism by monet"],
  ["brushstrokes", "thick brushstrokes of oil paint"],
  ["cubism", "cubism by picasso"],
  ["abstract", "molten stained glass"],
  ["photo", "a photograph"],
];

/** @type {[file: string, words: string][]} Synthetic questions; the last interrupts. */
export const SAMPLES = [
  ["media/mountain.wav", "What is the tallest mountain on earth?"],
  ["media/plants.wav", "How do plants make food?"],
  ["media/wait.wav", "Wait, what is the capital of Italy?"],
];
