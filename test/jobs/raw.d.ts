/** Vite gives a file as text when it is imported with `?raw`. */
declare module "*?raw" {
  const text: string;
  export default text;
}
