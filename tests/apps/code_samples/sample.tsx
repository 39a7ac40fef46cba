export const Button = (props: Props) => {
  return <button>{props.label}</button>;
};
