/** What opening a device comes to: the error's code and message, or nothing if it opens. */
async () => {
  const { Camera, Microphone, Speaker } = await import("/sdk/millstream.js");
  const problems = {};
  for (const kind of [Microphone, Camera, Speaker]) {
    try {
      await (await kind.open()).close();
    } catch (error) {
      problems[kind.name] = [error.name, error.code, error.message];
    }
  }
  return problems;
};
